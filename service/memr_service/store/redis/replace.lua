-- Give a run another config before its first record. The segment in use gets a longer name, so that every commit fails
-- that was prepared under the old config.
--
-- KEYS  run, segments
-- ARGV  config, encoder ('': none)
-- gives 1; or 0 if the run has a record or is gone

local segment = redis.call('HGET', KEYS[1], 'segment')
if not segment or redis.call('ZCARD', KEYS[2]) > 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'config', ARGV[1], 'encoder', ARGV[2], 'segment', segment .. '-')
return 1
