-- Write a record and the responses that it led to, all or nothing; refuse it unless it follows the run's last one.
--
-- KEYS  run, turn, keeper, segments, log and columns of the segment in use, log and columns of the segment that this
--       record may begin, then a key for each response, then one for each response to amend
-- ARGV  commit id, branch, position, parent, chain, segment in use, payload, columns, token, bytes of a segment,
--       seconds to keep responses, number of responses, then digest and response of each, then each amended response
-- gives ok and the segment it is in; or gone, kept (another process holds the lease), answered, moved, wait

local commit, branch, position, parent, chain, segment = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local payload, columns, token, count = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[12])
local id = position .. '-0'

local tip = redis.call('HMGET', KEYS[1], 'branch', 'position', 'chain', 'segment', 'bytes')
if not tip[1] or tonumber(branch) > tonumber(tip[1]) then
  return {'gone'}
end

if tonumber(position) >= 1 and tonumber(position) <= tonumber(tip[2]) then
  -- Perhaps the same commit again, whose first reply was lost on the way.
  for at, name in pairs({[5] = segment, [7] = position}) do
    local entry = redis.call('XRANGE', KEYS[at], id, id)[1]
    if entry and entry[2][2] == commit then
      return {'ok', name}
    end
  end
end

local holder = redis.call('GET', KEYS[3])
if holder and holder:sub(1, #token) ~= token then
  return {'kept'}
end
for i = 1, count do
  if redis.call('HEXISTS', KEYS[8 + i], branch .. ':answer') == 1 then
    return {'answered'}
  end
end
if tip[1] ~= branch or tonumber(tip[2]) + 1 ~= tonumber(position) or tip[4] ~= segment
    or (tip[3] ~= '' and tip[3] ~= parent) then
  return {'moved'}
end
local turn = redis.call('GET', KEYS[2])
if turn and turn ~= token then
  return {'wait'}
end

local log, beside, bytes = KEYS[5], KEYS[6], tonumber(tip[5])
if bytes >= tonumber(ARGV[10]) then
  log, beside, bytes, segment = KEYS[7], KEYS[8], 0, position
end
redis.call('XADD', log, id, 'commit', commit, 'payload', payload, 'chain', chain)
redis.call('XADD', beside, id, 'columns', columns)
if bytes == 0 then
  redis.call('ZADD', KEYS[4], position, branch .. ':' .. position)
end
redis.call('HSET', KEYS[1], 'position', position, 'chain', chain, 'segment', segment, 'bytes', bytes + #payload + 1)
redis.call('HINCRBY', KEYS[1], 'journal', #payload)
for i = 1, count do
  local key, at = KEYS[8 + i], 12 + 2 * i
  redis.call('HSET', key, 'latest', branch, branch .. ':position', position,
    branch .. ':digest', ARGV[at - 1], branch .. ':answer', ARGV[at])
  redis.call('EXPIRE', key, ARGV[11])
end
for i = 9 + count, #KEYS do
  local latest = redis.call('HGET', KEYS[i], 'latest')
  if latest then
    redis.call('HSET', KEYS[i], latest .. ':answer', ARGV[4 + count + i])
  end
end
if turn then
  redis.call('DEL', KEYS[2])
end
return {'ok', segment}
