-- KEYS: 1 the lease. ARGV: owner, milliseconds to hold it for; 0 gives it back.
-- Returns 1 if the owner has it afterwards. What never expires is no lease of ours.
local owner = redis.pcall('GETRANGE', KEYS[1], 0, 255)
local held = type(owner) == 'string' and owner ~= '' and redis.call('PTTL', KEYS[1]) > 0
if held and owner ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
