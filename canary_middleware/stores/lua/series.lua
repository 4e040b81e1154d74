-- Points of charts of one rollout. KEYS: 1 data by slot, 2 slots by themselves.
-- ARGV: life in seconds, how many are kept, slot, data to write; none of those but a slot, how many
-- and how long to read: those after it, in their order, as {slot, data, ...}.
local function kind(key) return redis.call('TYPE', key).ok end

if #ARGV == 3 then
  local found = {}
  for _, slot in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])) do
    if redis.call('HSTRLEN', KEYS[1], slot) > tonumber(ARGV[3]) then
      return redis.error_reply('ERR a point of a chart takes more than ' .. ARGV[3] .. ' bytes')
    end
    found[#found + 1] = slot
    found[#found + 1] = redis.call('HGET', KEYS[1], slot)
  end
  return found
end

-- Neither means anything without the other.
if kind(KEYS[1]) ~= 'hash' or kind(KEYS[2]) ~= 'zset' then
  redis.call('DEL', KEYS[1], KEYS[2])
end
-- The write that can be refused (out of memory) comes first, so that a refusal changes nothing.
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[3])
local many = redis.call('HLEN', KEYS[1]) - ARGV[2]
if many > 0 then
  -- Not more at once than Lua can hand on; whoever put so many there loses the rest by and by.
  local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '+inf', 'LIMIT', 0, math.min(many, 1000))
  redis.call('HDEL', KEYS[1], unpack(old))
  redis.call('ZREM', KEYS[2], unpack(old))
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[1]) end
return 1
