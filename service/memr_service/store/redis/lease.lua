-- Hold or renew a run's lease for some time, unless another process holds it; or release it.
--
-- KEYS  keeper
-- ARGV  token, address, milliseconds (0: release)
-- gives the holder's token and address

local holder = redis.call('GET', KEYS[1])
local own = ARGV[1] .. ARGV[2]
if holder and holder:sub(1, #ARGV[1]) ~= ARGV[1] then
  return holder
end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], own, 'PX', ARGV[3])
end
return own
