-- Unconditional. ARGV: scope, kill and audit as JSON objects that lack their last member, the
-- revision; lineage and body for a store without a state; channel.
-- Returns {document or false, why it was not written or false, why the state is corrupt or false}.
local state, corrupt = read()
if corrupt then return {false, false, corrupt} end
state = state or {lineage = ARGV[4], revision = '0', body = ARGV[5], kills = {}}
if tonumber(state.revision) >= MAX_REVISION then
  return {false, false, 'is at its last revision'}
end
state.revision = string.format('%.0f', tonumber(state.revision) + 1)
local last = ',"revision":' .. state.revision .. '}'
state.kills[ARGV[1]] = ARGV[2] .. last
local message = document(state)
local written = redis.pcall('HSET', KEYS[1], 'lineage', state.lineage, 'revision', state.revision,
  'body', state.body, 'kill:' .. ARGV[1], state.kills[ARGV[1]])
redis.pcall('PUBLISH', ARGV[6], message)
if type(written) == 'table' and written.err then return {message, written.err, false} end
remember(ARGV[3] .. last)
return {message, false, false}
