-- Puts a share back where it was in the queue. 0: it is not theirs, or somebody has renewed its lease.
-- KEYS: job, share, leases
-- ARGV: prefix, id, ref, fence of who gives it back or '', beat at which its lease ran out or '', whether the attempt
-- counts, attempt before which it goes without company
local job, share, leases = unpack(KEYS)
local prefix, id, ref, fence, beat, counts, alone = unpack(ARGV)
local held = redis.call('HMGET', share, 'state', 'fence', 'lane', 'since', 'attempt')
if held[1] ~= 'running' then
  redis.call('ZREM', leases, ref)
  return 0
end
if fence ~= '' and held[2] ~= fence then return 0 end
if beat ~= '' and redis.call('ZSCORE', leases, ref) ~= beat then return 0 end
local lane, attempt = held[3], tonumber(held[5])
-- What killed its worker twice may have been its company: the last attempt is made alone.
local own = alone == 'now' or (counts == '1' and attempt + 1 == tonumber(alone))
if own and not string.find(lane, '!' .. ref, 1, true) then lane = lane .. '!' .. ref end
if counts ~= '1' then
  attempt = redis.call('HINCRBY', share, 'attempt', -1)
  if tonumber(redis.call('HGET', job, 'attempt')) == attempt + 1 then redis.call('HSET', job, 'attempt', attempt) end
end
redis.call('ZREM', leases, ref)
redis.call('HSET', share, 'state', 'pending', 'lane', lane, 'resumes', 1)
redis.call('HINCRBY', job, 'fence', 1)
local facts = redis.call('HMGET', job, 'priority', 'shares', 'left')
local running = redis.call('HINCRBY', job, 'running', -1)
if running == 0 and facts[2] == facts[3] then move(prefix, id, 'queued') end
redis.call('ZADD', prefix .. 'pending:' .. facts[1] .. ':' .. lane, held[4], ref)
redis.call('ZADD', prefix .. 'lanes:' .. facts[1], 'NX', redis.call('INCR', prefix .. 'served'), lane)
return 1
