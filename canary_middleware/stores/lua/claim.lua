-- All questions of a request, each answered as core/claims.contend says.
-- KEYS: per question its key, then the key of its origin where it has one. ARGV: per question one
-- text of lineage, epoch, period, limit, bucket, "1" if it raises, life in milliseconds, "1" if it
-- has an origin, what the asking process remembers or "", with blanks between. Numbers below 2^53 are exact here; they are
-- written as they came, never formatted.
-- Returns the winners as they stand in the store, with blanks between.
local MAX_NUMBER = 9007199254740991
local ASK = '^(%x+) (%d+) (%d+) (%d+) (%d+) ([01]) (%d+) ([01]) (.*)$'
local FORM = '^1:([0-9a-f]+):(%d+):(%d+):([cs]):(%d+)$'

-- What is no claim counts as absent. No claim has 128 bytes, so that a longer value is never read.
local function parsed(text)
  if type(text) ~= 'string' then return nil end
  local lineage, epoch, period, side, bucket = text:match(FORM)
  if not lineage or #lineage > 64 or #epoch > 16 or #period > 16 or #bucket > 16 then return nil end
  local claim = {text = text, lineage = lineage, side = side, bucket_text = bucket,
    epoch = tonumber(epoch), bucket = tonumber(bucket)}
  local largest = math.max(claim.epoch, tonumber(period), claim.bucket)
  return largest <= MAX_NUMBER and claim or nil
end

local function read(key)
  return parsed(redis.pcall('GETRANGE', key, 0, 127))
end

local function drawn(ask, side, bucket)
  return '1:' .. ask.lineage .. ':' .. ask.epoch .. ':' .. ask.period .. ':' .. side .. ':' .. bucket
end

local function contend(held, ask)
  local epoch, limit = tonumber(ask.epoch), tonumber(ask.limit)
  if held and held.lineage == ask.lineage then
    if held.epoch > epoch then return held.text end
    if held.epoch == epoch then
      local rises = ask.raises and held.side == 's' and held.bucket < limit
      return rises and drawn(ask, 'c', held.bucket_text) or held.text
    end
  end
  local bucket = held and held.bucket_text or ask.bucket
  return drawn(ask, tonumber(bucket) < limit and 'c' or 's', bucket)
end

local winners, place = {}, 1
for i = 1, #ARGV do
  local lineage, epoch, period, limit, bucket, raises, life, derived, remembered = ARGV[i]:match(ASK)
  local ask = {lineage = lineage, epoch = epoch, period = period, limit = limit, bucket = bucket,
    raises = raises == '1'}
  local key, origin = KEYS[place], nil
  if derived == '1' then
    place = place + 1
    origin = read(KEYS[place])
  end
  place = place + 1
  local held = read(key)
  local winner = contend(held or parsed(remembered) or origin, ask)
  if held and held.text == winner then
    redis.call('PEXPIRE', key, life)
  else
    redis.call('SET', key, winner, 'PX', life)
  end
  winners[#winners + 1] = winner
end
-- One line: a client takes a list, or a text of a given length, in several turns.
return redis.status_reply(table.concat(winners, ' '))
