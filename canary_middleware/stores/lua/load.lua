-- Returns {document or false, plain kill key or false, why it is corrupt or false}.
local state, corrupt = read()
return {state and document(state) or false, kill_key(), corrupt or false}
