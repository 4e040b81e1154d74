-- KEYS: claims to delete. ARGV: channel, message. Returns how many there were.
local deleted = redis.call('UNLINK', unpack(KEYS))
redis.pcall('PUBLISH', ARGV[1], ARGV[2])
return deleted
