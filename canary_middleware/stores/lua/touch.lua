-- KEYS: claims that were seen lately. ARGV: life in milliseconds.
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
return #KEYS
