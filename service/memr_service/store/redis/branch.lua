-- Begin a branch, which is the current one from now on.
--
-- KEYS  run, branches
-- ARGV  token of this call, parent, start, chain of the record at start ('': not known)
-- gives its number; or -1 if the parent has no such record, -2 if there is no run

local tip = redis.call('HMGET', KEYS[1], 'branch', 'position', 'branched', 'end:' .. ARGV[2])
if not tip[1] then
  return -2
end
if tip[3] == ARGV[1] then
  return tonumber(tip[1])  -- the same call again
end
local last = tip[1] == ARGV[2] and tip[2] or tip[4]
if not last or tonumber(ARGV[3]) < 0 or tonumber(ARGV[3]) > tonumber(last) then
  return -1
end
local number = redis.call('RPUSH', KEYS[2], ARGV[2] .. ':' .. ARGV[3]) - 1
redis.call('HSET', KEYS[1], 'end:' .. tip[1], tip[2], 'branch', number, 'position', ARGV[3], 'chain', ARGV[4],
  'segment', '-', 'bytes', 2^50, 'branched', ARGV[1])
return number
