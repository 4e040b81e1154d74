-- KEYS: claims that were seen lately. ARGV: life in milliseconds.
-- Returns the places of those that are not there.
local gone = {}
for place, key in ipairs(KEYS) do
  if redis.call('PEXPIRE', key, ARGV[1]) == 0 then gone[#gone + 1] = place end
end
return gone
