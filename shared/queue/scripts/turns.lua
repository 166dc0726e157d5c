-- Whose turn it is: start-time fair queuing of tenants, for the script that claims shards.
--
-- `{priority}` is the name of a queue: a priority, or that of a section (see sections.lua).
-- Every version of the service keeps `lanes:{priority}`: the lanes with waiting shards, by the number of their last turn.
-- A lane belongs to one tenant and is named `{shared lane}/~{tenant}`. Everything else here is an index of these lanes:
--   served:{priority}               number of the last turn that is indexed
--   lanes:{priority}:{tenant}       lanes of a tenant, by the number of their last turn
--   turns:{priority}                tenants with waiting shards, by start tag
--   turns:{priority}:now            virtual time: the smallest start tag at the last claim
--   turns:{priority}:times          when each tenant was served last, or began to wait, in ms
--   turns:{priority}:lane:{lane}    tenants with waiting shards in a shared lane, by a start tag that may be out of date
--   turns:{priority}:leaver:{tenant}  worker that leaves its lane for a tenant
-- Earlier versions do not write the index. A lane that they add has a new turn, by which the next claim finds it; a lane
-- that they have emptied is removed when its turn comes. Their lanes contain shards of several tenants: each claim moves
-- some of them into lanes of their tenants.
local prefix = ARGV[1]
local MOST_INDEXED, MOST_MOVED, MOST_CORRECTED = 100, 100, 16
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local is_indexed = {}

local function pending_of(priority, lane) return prefix .. 'pending:' .. priority .. ':' .. lane end
local function lanes_of(priority, tenant) return prefix .. 'lanes:' .. priority .. ':' .. tenant end
local function turns_of(priority) return prefix .. 'turns:' .. priority end
local function first_of(set) return unpack(redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')) end

-- The shared lane and the tenant of a lane; nothing if it is a lane of an earlier version.
local function split_lane(lane)
  local shared, tenant, alone = string.match(lane, '^(.*)/~([^!]+)(.*)$')
  if shared then return shared .. alone, tenant end
end

-- The lane of a tenant in a shared lane. A shard that runs alone has `!` and its name at the end of its lane.
local function join_lane(lane, tenant)
  local shared, alone = string.match(lane, '^([^!]*)(.*)$')
  return shared .. '/~' .. tenant .. alone
end

-- The start tag of a tenant, which waits from now on if it did not wait.
local function find_tag(priority, tenant)
  local turns = turns_of(priority)
  local tag = redis.call('ZSCORE', turns, tenant)
  if tag then return tonumber(tag) end
  tag = tonumber(redis.call('GET', turns .. ':now') or 0)
  redis.call('ZADD', turns, tag, tenant)
  redis.call('HSET', turns .. ':times', tenant, now_ms)
  return tag
end

local function index_lane(priority, lane, turn)
  local shared, tenant = split_lane(lane)
  redis.call('ZADD', lanes_of(priority, tenant), turn, lane)
  redis.call('ZADD', turns_of(priority) .. ':lane:' .. shared, 'NX', find_tag(priority, tenant), tenant)
end

local function forget_lane(priority, lane)
  local shared, tenant = split_lane(lane)
  redis.call('ZREM', prefix .. 'lanes:' .. priority, lane)
  redis.call('ZREM', lanes_of(priority, tenant), lane)
  redis.call('ZREM', turns_of(priority) .. ':lane:' .. shared, tenant)
end

-- Moves at most `most` shards from a lane of an earlier version into lanes of their tenants. Returns how many.
local function move_shards(priority, lane, most)
  local lanes, mixed = prefix .. 'lanes:' .. priority, pending_of(priority, lane)
  local shards = most > 0 and redis.call('ZRANGE', mixed, 0, most - 1, 'WITHSCORES') or {}
  for index = 1, #shards, 2 do
    local ref, since = shards[index], shards[index + 1]
    local tenant = redis.call('HGET', prefix .. 'job:' .. string.match(ref, '^(.+):%d+$'), 'tenant') or 'default'
    local own = join_lane(lane, tenant)
    redis.call('ZREM', mixed, ref)
    if redis.call('EXISTS', prefix .. 'share:' .. ref) == 1 then
      redis.call('HSET', prefix .. 'share:' .. ref, 'lane', own)
      redis.call('ZADD', pending_of(priority, own), since, ref)
      local turn = redis.call('INCR', prefix .. 'served')
      if redis.call('ZADD', lanes, 'NX', turn, own) == 1 then index_lane(priority, own, turn) end
    end
  end
  if redis.call('EXISTS', mixed) == 1 then
    redis.call('ZADD', lanes, redis.call('INCR', prefix .. 'served'), lane) -- the next claim moves more
    is_indexed[priority] = false
  else
    redis.call('ZREM', lanes, lane)
  end
  return #shards / 2
end

-- Indexes the lanes that have had a turn since the last claim.
local function index_lanes(priority)
  local indexed = prefix .. 'served:' .. priority
  local last, to_move = redis.call('GET', indexed) or '0', MOST_MOVED
  local lanes = redis.call('ZRANGEBYSCORE', prefix .. 'lanes:' .. priority, '(' .. last, '+inf', 'WITHSCORES',
    'LIMIT', 0, MOST_INDEXED)
  is_indexed[priority] = #lanes < 2 * MOST_INDEXED
  for index = 1, #lanes, 2 do
    local lane, turn = lanes[index], lanes[index + 1]
    if split_lane(lane) then
      index_lane(priority, lane, turn)
    else
      to_move = to_move - move_shards(priority, lane, to_move)
    end
    last = turn
  end
  if #lanes > 0 then redis.call('SET', indexed, last) end
end

-- Puts a lane behind the other lanes of its tenant, or removes it if no shard of it waits.
local function end_turn(priority, lane)
  if redis.call('EXISTS', pending_of(priority, lane)) == 0 then return forget_lane(priority, lane) end
  local _, tenant = split_lane(lane)
  local turn = redis.call('INCR', prefix .. 'served')
  redis.call('ZADD', prefix .. 'lanes:' .. priority, turn, lane)
  redis.call('ZADD', lanes_of(priority, tenant), turn, lane)
  if is_indexed[priority] then redis.call('SET', prefix .. 'served:' .. priority, turn) end
end

-- Charges a tenant for a shard: its next start tag is later by the cost.
local function charge(priority, tenant, cost)
  local turns = turns_of(priority)
  redis.call('ZADD', turns, find_tag(priority, tenant) + cost, tenant)
  redis.call('HSET', turns .. ':times', tenant, now_ms)
  redis.call('DEL', turns .. ':leaver:' .. tenant)
end

-- The first shard of a tenant: its lane, its name; nothing if no shard of the tenant waits.
local function find_first(priority, tenant)
  while true do
    local lane = first_of(lanes_of(priority, tenant))
    if not lane then return nil end
    local ref = first_of(pending_of(priority, lane))
    if ref then return lane, ref end
    forget_lane(priority, lane)
  end
end

-- The tenant whose turn it is, with its first shard: tenant, lane, name of the shard. Nothing if no shard waits.
-- A tenant without waiting shards leaves when its turn comes, so that it cannot come back with a smaller start tag.
local function find_turn(priority)
  local turns = turns_of(priority)
  while true do
    local tenant, tag = first_of(turns)
    if not tenant then return nil end
    local now = redis.call('GET', turns .. ':now') or '0'
    if tonumber(tag) > tonumber(now) then redis.call('SET', turns .. ':now', tag) end
    local lane, ref = find_first(priority, tenant)
    if lane then return tenant, lane, ref end
    redis.call('ZREM', turns, tenant)
    redis.call('HDEL', turns .. ':times', tenant)
  end
end

-- The shard of a shared lane that is next: of this tenant, else of the tenant with the smallest start tag in the lane.
-- Returns its lane and its name; nothing if no shard waits in the lane.
local function find_in_lane(priority, shared, tenant)
  local own = join_lane(shared, tenant)
  local ref = first_of(pending_of(priority, own))
  if ref then return own, ref end
  local tenants, corrected = turns_of(priority) .. ':lane:' .. shared, 0
  while true do
    local other, tag = first_of(tenants)
    if not other then return nil end
    local lane = join_lane(shared, other)
    ref = first_of(pending_of(priority, lane))
    if not ref then
      forget_lane(priority, lane)
    else
      local current = find_tag(priority, other)
      if current <= tonumber(tag) or corrected == MOST_CORRECTED then return lane, ref end
      redis.call('ZADD', tenants, current, other)
      corrected = corrected + 1
    end
  end
end

-- Whether a worker has to leave its lane, because a tenant waits in another one. One worker at a time leaves for a tenant.
local function must_leave(priority, tenant, owner, patience_ms)
  local turns = turns_of(priority)
  local since = tonumber(redis.call('HGET', turns .. ':times', tenant) or now_ms)
  if now_ms - since < patience_ms then return false end
  local leaver = turns .. ':leaver:' .. tenant
  if (redis.call('GET', leaver) or owner) ~= owner then return false end
  redis.call('SET', leaver, owner, 'PX', 10 * patience_ms)
  return true
end

