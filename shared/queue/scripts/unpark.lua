-- Puts the shards back into the queue whose wait is over, each at its earlier position. Returns how many were due.
-- No wait is longer than a minute: a shard that is due later was parked before the clock of Redis was set back.
-- KEYS: parked shards by the time at which they are due   ARGV: prefix, the most shards
local parked = KEYS[1]
local prefix, limit = unpack(ARGV)
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', parked, '-inf', now_ms, 'LIMIT', 0, limit)
for _, ref in ipairs(redis.call('ZRANGEBYSCORE', parked, now_ms + 61000, '+inf', 'LIMIT', 0, limit)) do table.insert(due, ref) end
for _, ref in ipairs(due) do
  redis.call('ZREM', parked, ref)
  local shard = prefix .. 'share:' .. ref
  local state, lane, since, section = unpack(redis.call('HMGET', shard, 'state', 'lane', 'since', 'section'), 1, 4)
  local priority = redis.call('HGET', prefix .. 'job:' .. string.match(ref, '^(.+):%d+$'), 'priority')
  if state == 'pending' and priority then
    if section then
      dequeue(prefix, priority, section, lane, ref)
      section = include_all(section)
      redis.call('HSET', shard, 'section', section)
    end
    enqueue(prefix, priority, section or '', lane, since, ref)
  end
end
return #due
