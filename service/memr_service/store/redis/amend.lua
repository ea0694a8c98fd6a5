-- Replace the newest responses to some request ids, where these are still kept.
--
-- KEYS  a key for each response
-- ARGV  the responses

for i, key in ipairs(KEYS) do
  local latest = redis.call('HGET', key, 'latest')
  if latest then
    redis.call('HSET', key, latest .. ':answer', ARGV[i])
  end
end
