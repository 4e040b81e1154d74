-- Totals of one release. KEYS: 1 data by boot id, the folded ones under "", 2 when each was
-- written, 3 boot ids that were folded, by time. ARGV: "put", "read" or "fold", and its arguments.
-- The clock is the store's, so that processes need none.
local LIFE, MAX_ONE, MAX_ANSWER, FOLDED = 2592000, 262144, 16777216, 10000
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
for key, kind in pairs({[KEYS[1]] = 'hash', [KEYS[2]] = 'zset', [KEYS[3]] = 'zset'}) do
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end

-- Who was silent for so long goes when somebody new comes; their sum stays as long as the release.
local function sweep()
  for _, boot in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - LIFE, 'LIMIT', 0, 100)) do
    if boot ~= '' then
      redis.call('HDEL', KEYS[1], boot)
      redis.call('ZREM', KEYS[2], boot)
    end
  end
end

local function write(boot, data)
  local new = redis.call('HSET', KEYS[1], boot, data) == 1
  redis.call('ZADD', KEYS[2], string.format('%.3f', now), boot)
  if new then sweep() end
end

-- A rollout that nobody has any more leaves nothing behind.
local function written()
  for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, LIFE) end
  return 1
end

-- ARGV: boot id, data. Returns 0 if it was folded.
if ARGV[1] == 'put' then
  if redis.call('ZSCORE', KEYS[3], ARGV[2]) then return 0 end
  write(ARGV[2], ARGV[3])
  return written()
end

-- Returns {boot id, data, seconds since, ...}. A sum that lacks somebody would be a wrong one.
if ARGV[1] == 'read' then
  local found, size = {}, 0
  for _, boot in ipairs(redis.call('HKEYS', KEYS[1])) do
    local length = redis.call('HSTRLEN', KEYS[1], boot)
    size = size + length
    if length > MAX_ONE or size > MAX_ANSWER then
      return redis.error_reply('ERR the totals take more than ' .. size .. ' bytes')
    end
    local age = now - (redis.call('ZSCORE', KEYS[2], boot) or 0)
    found[#found + 1] = boot
    found[#found + 1] = redis.call('HGET', KEYS[1], boot)
    found[#found + 1] = string.format('%.3f', math.max(0, age))
  end
  return found
end

-- ARGV: what stood under "", what shall, then boot id and data of each that is in it.
-- Returns 0 if any of it is not as it was read.
if (redis.call('HGET', KEYS[1], '') or '') ~= ARGV[2] then return 0 end
for i = 4, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then return 0 end
end
-- The write that can be refused (out of memory) comes first, so that a refusal changes nothing.
write('', ARGV[3])
for i = 4, #ARGV, 2 do
  redis.call('ZADD', KEYS[3], string.format('%.3f', now), ARGV[i])
  redis.call('HDEL', KEYS[1], ARGV[i])
  redis.call('ZREM', KEYS[2], ARGV[i])
end
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -FOLDED - 1)
return written()
