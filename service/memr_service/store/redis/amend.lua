-- Put final answers in place of those that were committed, where these are still kept.
--
-- KEYS  a key for each answer
-- ARGV  the answers

for i, key in ipairs(KEYS) do
  local latest = redis.call('HGET', key, 'latest')
  if latest then
    redis.call('HSET', key, latest .. ':answer', ARGV[i])
  end
end
