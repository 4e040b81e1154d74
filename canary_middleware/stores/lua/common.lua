-- Comes before each of the other scripts.
-- KEYS: 1 state, 2 audit, 3 plain kill key, 4 the same without braces (never on a cluster).
-- The state is one hash: lineage, revision, body, and one field "kill:<scope>" per kill in force.
-- One key, so that eviction or a careless DEL can never take the state and leave the kills, or
-- the other way round.
local MAX_BYTES, MAX_FIELDS, MAX_REVISION, HISTORY = 262144, 1000, 9007199254740991, 1000

local function kind(key)
  return redis.call('TYPE', key).ok
end

-- Returns nil and the reason for what is no state, and false for nothing at all. Sizes are checked
-- before anything is read, so that a huge value never leaves the server.
local function read()
  local found = kind(KEYS[1])
  if found == 'none' then return false end
  if found ~= 'hash' then return nil, 'is a ' .. found end
  if redis.call('HLEN', KEYS[1]) > MAX_FIELDS then return nil, 'has too many fields' end
  local names, size = redis.call('HKEYS', KEYS[1]), 0
  for _, name in ipairs(names) do
    size = size + #name + redis.call('HSTRLEN', KEYS[1], name)
  end
  if size > MAX_BYTES then return nil, 'takes ' .. size .. ' bytes' end
  local head = redis.call('HMGET', KEYS[1], 'lineage', 'revision', 'body')
  if not (head[1] and head[2] and head[3]) then return nil, 'lacks lineage, revision or body' end
  if not (head[1]:match('^%x+$') and head[2]:match('^%d+$')) then
    return nil, 'has no proper lineage and revision'
  end
  local state = {lineage = head[1], revision = head[2], body = head[3], kills = {}}
  for _, name in ipairs(names) do
    if name:sub(1, 5) == 'kill:' then
      state.kills[name:sub(6)] = redis.call('HGET', KEYS[1], name)
    end
  end
  return state
end

local function document(state)
  local kills = {}
  for scope, kill in pairs(state.kills) do
    kills[#kills + 1] = cjson.encode(scope) .. ':' .. kill
  end
  return '{"schema":1,"lineage":"' .. state.lineage .. '","revision":' .. state.revision
    .. ',"kills":{' .. table.concat(kills, ',') .. '},"body":' .. state.body .. '}'
end

-- The presence of a plain key is a kill of everything, whatever its type; its text is the reason.
local function kill_key()
  for i = 3, #KEYS do
    local found = kind(KEYS[i])
    if found == 'string' then return redis.call('GETRANGE', KEYS[i], 0, 1999) end
    if found ~= 'none' then return 'the kill key is a ' .. found end
  end
  return false
end

-- Nothing after the state itself may fail the script: history and pushes are worth less than it.
local function remember(audit)
  local found = kind(KEYS[2])
  if found ~= 'list' and found ~= 'none' then redis.pcall('DEL', KEYS[2]) end
  redis.pcall('LPUSH', KEYS[2], audit)
  redis.pcall('LTRIM', KEYS[2], 0, HISTORY - 1)
end
