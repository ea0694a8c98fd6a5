-- Keep a run's barrier for some time, where nobody else does; or give it up.
--
-- KEYS  keeper
-- ARGV  token, address, milliseconds (0: give it up)
-- gives the keeper's token and address

local keeper = redis.call('GET', KEYS[1])
local own = ARGV[1] .. ARGV[2]
if keeper and keeper:sub(1, #ARGV[1]) ~= ARGV[1] then
  return keeper
end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], own, 'PX', ARGV[3])
end
return own
