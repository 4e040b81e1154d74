-- Entries of one run that were told of: which batch told of each first. KEYS: two hashes, "period:
-- visitor" to batch, that are filled in turn: when one is full, the other is emptied.
-- ARGV: 1 the batch, then the entries. Returns 1 or 0 for each: whether nobody but this batch told
-- of it. A key that is lost makes some visitors count a second time, nothing else.
local LIFE, KEPT, MAX_BATCH = 604800, 16384, 32
for _, key in ipairs(KEYS) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'hash' and found ~= 'none' then redis.call('DEL', key) end
end
local filled, other = KEYS[1], KEYS[2]
if redis.call('HLEN', filled) >= KEPT then filled, other = other, filled end
local batch, answers = ARGV[1], {}

local function told(key, entry)
  if redis.call('HSTRLEN', key, entry) > MAX_BATCH then return 'somebody' end
  return redis.call('HGET', key, entry)
end

for place = 2, #ARGV do
  local entry = ARGV[place]
  local by = told(filled, entry) or told(other, entry)
  -- The first of these is the write that can be refused (out of memory): that changes nothing.
  if not by then redis.call('HSET', filled, entry, batch) end
  answers[place - 1] = (not by or by == batch) and 1 or 0
end
if redis.call('HLEN', filled) >= KEPT then redis.call('DEL', other) end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, LIFE) end
return answers
