-- First events of one run. KEYS: 1 a hash. Its field "" names the kinds of events there are; the
-- field of a kind says "limit size period:cohort:count ..."; a field "kind:visitor" stands for each
-- visitor below the limit that had the event. One key, so that an eviction or a careless DEL can
-- never take the visitors and leave the counts.
-- ARGV: "kind visitor period cohort" of each event; none to read. Returns {kind, line, ...} then.
-- Numbers up to 2^53 are exact here.
local LIFE, WATCHED, KINDS, EVERYBODY, MAX_LINE = 7776000, 4096, 32, 9007199254740992, 262144
local key = KEYS[1]
local found = redis.call('TYPE', key).ok
if found ~= 'hash' and found ~= 'none' then redis.call('DEL', key) end

-- Returns false for what is too long to be ours.
local function read(field)
  if redis.call('HSTRLEN', key, field) > MAX_LINE then return false end
  return redis.call('HGET', key, field) or ''
end

local function parsed(line)
  local limit, size, rest = line:match('^(%d+) (%d+)([%d:cs ]*)$')
  if not limit then return false end
  local counts = {}
  for place, count in rest:gmatch(' (%d+:[cs]):(%d+)') do counts[place] = tonumber(count) end
  return {limit = tonumber(limit), size = tonumber(size), counts = counts}
end

local function written(watch)
  local line = {string.format('%.0f %.0f', watch.limit, watch.size)}
  for place, count in pairs(watch.counts) do
    line[#line + 1] = place .. ':' .. string.format('%.0f', count)
  end
  return table.concat(line, ' ')
end

-- What was counted stays.
local function thin(kind, watch)
  watch.limit, watch.size = watch.limit / 2, 0
  local gone, prefix = {}, kind .. ':'
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if field:sub(1, #prefix) == prefix then
      if (tonumber(field:sub(#prefix + 1)) or EVERYBODY) < watch.limit then
        watch.size = watch.size + 1
      else
        gone[#gone + 1] = field
      end
    end
  end
  for i = 1, #gone, 1000 do
    redis.call('HDEL', key, unpack(gone, i, math.min(i + 999, #gone)))
  end
end

local names = read('')
local kinds, watches, lines = {}, {}, {}
for kind in (names or ''):gmatch('%S+') do
  local line = read(kind)
  watches[kind] = line and parsed(line)
  if not watches[kind] then
    return redis.error_reply('ERR the first events of ' .. kind .. ' are none of ours')
  end
  kinds[#kinds + 1] = kind
  lines[#lines + 1] = kind
  lines[#lines + 1] = line
end
if #ARGV == 0 then return lines end

for _, event in ipairs(ARGV) do
  local kind, visitor, period, cohort = event:match('^(%S+) (%d+) (%d+) ([cs])$')
  local watch = watches[kind]
  if not watch and #kinds < KINDS then
    watch = {limit = EVERYBODY, size = 0, counts = {}}
    watches[kind] = watch
    kinds[#kinds + 1] = kind
  end
  -- The first of these is the write that can be refused (out of memory): that changes nothing.
  if watch and tonumber(visitor) < watch.limit
    and redis.call('HSET', key, kind .. ':' .. visitor, '') == 1 then
    local place = period .. ':' .. cohort
    watch.counts[place] = (watch.counts[place] or 0) + 1
    watch.size = watch.size + 1
    watch.changed = true
    while watch.size >= WATCHED and watch.limit > 1 do thin(kind, watch) end
  end
end
for kind, watch in pairs(watches) do
  if watch.changed then
    redis.call('HSET', key, '', table.concat(kinds, ' '), kind, written(watch))
  end
end
redis.call('EXPIRE', key, LIFE)
return 1
