-- KEYS: 1 reports by process id, 2 when each was last heard. ARGV: life in seconds, then for a
-- report the process id and its text; what is older than the life is forgotten then. The clock is
-- the store's, so that processes need none. A report that is longer than any of ours is left out.
-- Of what would be too much to answer the newest counts: a fleet that dies and comes back all the
-- time leaves thousands behind. Oldest first.
-- Returns {time, report, time, report, ...} of those who were heard within it.
local MAX_REPORT, MAX_ANSWER = 262144, 16777216
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
for key, kind in pairs({[KEYS[1]] = 'hash', [KEYS[2]] = 'zset'}) do
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
if ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
  redis.call('ZADD', KEYS[2], string.format('%.3f', now), ARGV[2])
  local silent = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1], 'LIMIT', 0, 100)
  for _, id in ipairs(silent) do
    redis.call('HDEL', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
  end
  -- Nobody left: nothing stays behind.
  redis.call('EXPIRE', KEYS[1], ARGV[1] + 60)
  redis.call('EXPIRE', KEYS[2], ARGV[1] + 60)
  return {}
end
-- Pages from the oldest on, of which the last two count: to ask from the end is a command that no
-- permission of an earlier release has.
local since, page, before = '(' .. (now - ARGV[1]), {}, {}
for _ = 1, 20 do
  before = page
  page = redis.call('ZRANGEBYSCORE', KEYS[2], since, '+inf', 'WITHSCORES', 'LIMIT', 0, 5000)
  if #page < 10000 then break end
  since = '(' .. page[#page]
end
local found, size, left = {}, 0, 5000
for _, heard in ipairs({page, before}) do
  for i = #heard - 1, 1, -2 do
    local length = redis.call('HSTRLEN', KEYS[1], heard[i])
    if left > 0 and length <= MAX_REPORT and size + length <= MAX_ANSWER then
      local report = redis.call('HGET', KEYS[1], heard[i])
      if report then
        size, left = size + length, left - 1
        found[#found + 1] = {heard[i + 1], report}
      end
    end
  end
end
local alive = {}
for i = #found, 1, -1 do
  alive[#alive + 1] = found[i][1]
  alive[#alive + 1] = found[i][2]
end
return alive
