-- How far one outbox is. KEYS: 1 its cursor. ARGV: how long one may be; to put it elsewhere also
-- life in seconds, where it must be ("" for nowhere) and where it shall be.
-- Returns where it is or false; after a change 1, or 0 if it was not where it must be.
local found = redis.call('GETRANGE', KEYS[1], 0, ARGV[1])
if #found > tonumber(ARGV[1]) then return redis.error_reply('ERR a cursor is too long') end
if #ARGV == 1 then return found ~= '' and found end
if found ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[4], 'EX', ARGV[2])
return 1
