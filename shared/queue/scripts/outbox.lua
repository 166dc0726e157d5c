-- Orders webhook deliveries: by tenant, and within a tenant by the time at which they are due.
-- KEYS: queue of all tenants of earlier versions ({tenant}/{id}), tenants by their first due time, tenants by their last turn,
--       times that each message ({tenant}/{id}) was taken since its last outcome, time in ms at which a sender looked last
-- ARGV: prefix of the tenants' queues, name of the operation, its arguments
local old, tenants, turns, taken, looked = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix = ARGV[1]

local function update_tenant(tenant)
  local first = redis.call('ZRANGE', prefix .. tenant, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', tenants, first[2], tenant)
  else
    redis.call('ZREM', tenants, tenant)
    redis.call('ZREM', turns, tenant)
  end
end

-- ARGV: tenant, id, due time in ms, most messages of the tenant, 'new' to keep an earlier due time, key of the newest messages of
-- the tenant, the most of these
-- Returns whether the message is in the queue; it is not if the tenant has too many.
local function schedule(tenant, id, due_ms, limit, mode, listed, most_listed)
  local queue = prefix .. tenant
  redis.call('ZADD', listed, 0, id)
  redis.call('ZREMRANGEBYRANK', listed, 0, -most_listed - 1)
  redis.call('ZREM', old, tenant .. '/' .. id)
  if redis.call('ZSCORE', queue, id) then
    if mode == 'new' then return 1 end
  elseif redis.call('ZCARD', queue) >= tonumber(limit) then
    return 0
  end
  redis.call('ZADD', queue, due_ms, id)
  redis.call('HDEL', taken, tenant .. '/' .. id)
  update_tenant(tenant)
  return 1
end

-- ARGV: tenant, id
local function forget(tenant, id)
  redis.call('ZREM', old, tenant .. '/' .. id)
  redis.call('ZREM', prefix .. tenant, id)
  redis.call('HDEL', taken, tenant .. '/' .. id)
  update_tenant(tenant)
end

-- Moves messages that a process of an earlier version has queued.
local function move_old()
  local entries = redis.call('ZRANGE', old, 0, 99, 'WITHSCORES')
  for index = 1, #entries, 2 do
    local tenant, id = string.match(entries[index], '^([^/]+)/(.+)$')
    if tenant and not redis.call('ZSCORE', prefix .. tenant, id) then
      redis.call('ZADD', prefix .. tenant, entries[index + 1], id)
      update_tenant(tenant)
    end
    redis.call('ZREM', old, entries[index])
  end
end

-- ARGV: after how many ms the message is due again, the most ms, tenants that get no message
-- Returns tenant and id of the message that is due at the tenant that was served longest ago. It is due again later, and later each time.
local function take(again_ms, most_ms, excluded)
  move_old()
  local time = redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('SET', looked, now_ms)
  local chosen, chosen_turn
  for _, tenant in ipairs(redis.call('ZRANGEBYSCORE', tenants, '-inf', now_ms, 'LIMIT', 0, 1000)) do
    local turn = tonumber(redis.call('ZSCORE', turns, tenant) or 0)
    if not excluded[tenant] and (not chosen or turn < chosen_turn) then chosen, chosen_turn = tenant, turn end
  end
  if not chosen then return false end
  local id = redis.call('ZRANGE', prefix .. chosen, 0, 0)[1]
  local times = redis.call('HINCRBY', taken, chosen .. '/' .. id, 1)
  local wait_ms = math.min(again_ms * 2 ^ math.min(times - 1, 30), most_ms)
  redis.call('ZADD', prefix .. chosen, now_ms + wait_ms, id)
  local last = redis.call('ZRANGE', turns, -1, -1, 'WITHSCORES')
  redis.call('ZADD', turns, (last[2] or 0) + 1, chosen)
  update_tenant(chosen)
  return {chosen, id}
end

if ARGV[2] == 'schedule' then return schedule(unpack(ARGV, 3, 9)) end
if ARGV[2] == 'forget' then return forget(ARGV[3], ARGV[4]) end
local excluded = {}
for index = 5, #ARGV do excluded[ARGV[index]] = true end
return take(tonumber(ARGV[3]), tonumber(ARGV[4]), excluded)
