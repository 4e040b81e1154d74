-- All questions of a request, each answered as core/claims.contend says.
-- KEYS: per question its key, then the key of its origin where it has one. ARGV: per question
-- 1. the claim that is made where there is none, or "" where that depends on others;
-- 2. its life in milliseconds;
-- 3. lineage, epoch, period, limit, bucket, "1" if it raises, "1" if it has an origin, and what the
--    asking process remembers or "", with blanks between.
-- Numbers below 2^53 are exact here; they are written as they came, never formatted.
-- Returns the winners as they stand in the store, with blanks between.
local MAX_NUMBER = 9007199254740991
local ASK = '^(%x+) (%d+) (%d+) (%d+) (%d+) ([01]) ([01]) (.*)$'
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
  local since = ask.epoch .. ':' .. ask.period
  return '1:' .. ask.lineage .. ':' .. since .. ':' .. side .. ':' .. bucket
end

-- Returns the text, or the server's refusal. Without memory for what is new the claims that there
-- are still count; of the others the winner is told, and who prolongs it hears that it is missing.
local function written(key, text, life)
  local answer = redis.pcall('SET', key, text, 'PX', life)
  local refused = answer and answer.err
  return refused and not refused:find('maxmemory', 1, true) and answer or text
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

local place = 1

local function settle(life, text)
  local lineage, epoch, period, limit, bucket, raises, derived, remembered = text:match(ASK)
  local ask = {lineage = lineage, epoch = epoch, period = period, limit = limit, bucket = bucket,
    raises = raises == '1'}
  local key, origin = KEYS[place], nil
  if derived == '1' then
    place = place + 1
    origin = read(KEYS[place])
  end
  local held = read(key)
  local winner = contend(held or parsed(remembered) or origin, ask)
  if held and held.text == winner then
    redis.call('PEXPIRE', key, life)
    return winner
  end
  return written(key, winner, life)
end

local winners = {}
for i = 1, #ARGV, 3 do
  local fresh, life = ARGV[i], ARGV[i + 1]
  -- Most subjects come for the first time: nothing is read for them, which halves the time.
  local first = fresh ~= '' and redis.pcall('SET', KEYS[place], fresh, 'PX', life, 'NX')
  if first and first.ok then
    winners[#winners + 1] = fresh
  else
    local winner = settle(life, ARGV[i + 2])
    if type(winner) == 'table' then return winner end
    winners[#winners + 1] = winner
  end
  place = place + 1
end
-- One line: a client takes a list, or a text of a given length, in several turns.
return redis.status_reply(table.concat(winners, ' '))
