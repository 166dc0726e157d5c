-- Offers the shards that workers of earlier versions have parked to other workers, because they may be able to read them.
-- Returns whether shards wait in a section that the caller can read.
-- KEYS: parked shards   ARGV: prefix, reader, format that it reads, the most parked shards to look at
local prefix, reader, format, limit = unpack(ARGV)
for _, ref in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'LIMIT', 0, limit)) do
  local shard = prefix .. 'share:' .. ref
  local fields = redis.call('HMGET', shard, 'parked', 'noted', 'state', 'lane', 'since', 'section')
  local parked, noted, state, lane, since, section = unpack(fields, 1, 6)
  local priority = redis.call('HGET', prefix .. 'job:' .. string.match(ref, '^(.+):%d+$'), 'priority')
  if parked and parked ~= noted and state == 'pending' and priority then
    section = exclude(section or '', EARLIER)
    redis.call('HSET', shard, 'noted', parked, 'section', section)
    enqueue(prefix, priority, section, lane, since, ref)
  end
end
return #list_sections(prefix, reader, format) > 0
