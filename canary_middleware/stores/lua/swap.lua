-- ARGV: expected lineage ("" for none), expected revision, lineage, revision, body, audit, channel,
-- "-" or "+" and the text of the plain kill key to clear, then field and value of each kill.
-- Returns 1 when it was written, 0 when the store is not as expected.
local found = kind(KEYS[1])
if ARGV[1] == '' then
  if found ~= 'none' then return 0 end
else
  if found ~= 'hash' then return 0 end
  local head = redis.call('HMGET', KEYS[1], 'lineage', 'revision')
  if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] then return 0 end
end
local clears = ARGV[8]:sub(1, 1) == '+'
if clears and kill_key() ~= ARGV[8]:sub(2) then return 0 end

local state = {lineage = ARGV[3], revision = ARGV[4], body = ARGV[5], kills = {}}
local fields = {'lineage', ARGV[3], 'revision', ARGV[4], 'body', ARGV[5]}
for i = 9, #ARGV, 2 do
  state.kills[ARGV[i]:sub(6)] = ARGV[i + 1]
  fields[#fields + 1] = ARGV[i]
  fields[#fields + 1] = ARGV[i + 1]
end
-- The write that can be refused (out of memory) comes first, so that a refusal changes nothing.
redis.call('HSET', KEYS[1], unpack(fields))
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  if name:sub(1, 5) == 'kill:' and not state.kills[name:sub(6)] then
    redis.call('HDEL', KEYS[1], name)
  end
end
if clears then redis.call('DEL', unpack(KEYS, 3)) end
redis.pcall('PUBLISH', ARGV[7], document(state))
remember(ARGV[6])
return 1
