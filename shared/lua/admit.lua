-- Lets a job in that was held until others had ended: its shares can be claimed. 0: it is not held.
-- KEYS: job, held   ARGV: prefix, id
local job, held = unpack(KEYS)
local prefix, id = unpack(ARGV)
if redis.call('ZREM', held, id) == 0 then return 0 end
local facts = redis.call('HMGET', job, 'state', 'shares', 'lane', 'priority')
if facts[1] ~= 'queued' then return 0 end
local pending = prefix .. 'pending:' .. facts[4] .. ':' .. facts[3]
for number = 0, facts[2] - 1 do
  local ref = id .. ':' .. number
  local share = redis.call('HMGET', prefix .. 'share:' .. ref, 'state', 'since')
  if share[1] == 'pending' then redis.call('ZADD', pending, share[2], ref) end
end
redis.call('ZADD', prefix .. 'lanes:' .. facts[4], 'NX', redis.call('INCR', prefix .. 'served'), facts[3])
return 1
