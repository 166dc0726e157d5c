-- Sections: a shard that not every version of the service can read waits apart from the other shards of its priority.
--
-- A section is named `{format}-{readers}`. Workers that read this format and are none of these readers may claim its shards.
-- A reader is what a version of the service can read; those in the name have tried, and `earlier` stands for versions that
-- do not know sections. The name of the section of all other shards is empty.
-- The shards of a section wait in queues of their own, `{priority}@{section}`, which have turns like those of a priority.
-- Whatever some readers have tried is also parked, so that they try again after a while. `turns:sections` contains the
-- sections in which shards wait.
local PRIORITIES, EARLIER = {'interactive', 'bulk'}, 'earlier'

local function split_section(section) return string.match(section, '^(%d+)-([^-]*)$') end
local function name_queue(priority, section) return section == '' and priority or priority .. '@' .. section end

local function can_read(section, reader, format)
  if section == '' then return true end
  local needed, tried = split_section(section)
  if not needed or tonumber(needed) > tonumber(format) then return false end
  return not string.find(',' .. tried .. ',', ',' .. reader .. ',', 1, true)
end

-- The section of a shard that this reader cannot read either.
local function exclude(section, reader)
  local needed, tried = split_section(section == '' and '0-' or section)
  if not needed then return section end
  local readers = {reader}
  for other in string.gmatch(tried, '[^,]+') do
    if other ~= reader then table.insert(readers, other) end
  end
  table.sort(readers)
  return needed .. '-' .. table.concat(readers, ',')
end

-- The section of a shard that all readers of its format may try again.
local function include_all(section)
  local needed = split_section(section)
  if not needed then return section end
  return needed == '0' and '' or needed .. '-'
end

local function has_readers(section)
  local _, tried = split_section(section)
  return tried ~= nil and tried ~= ''
end

-- Makes a lane claimable in which shards wait.
local function open_lane(prefix, priority, section, lane)
  local lanes = prefix .. 'lanes:' .. name_queue(priority, section)
  redis.call('ZADD', lanes, 'NX', redis.call('INCR', prefix .. 'served'), lane)
  if section ~= '' then redis.call('SADD', prefix .. 'turns:sections', section) end
end

local function enqueue(prefix, priority, section, lane, since, ref)
  redis.call('ZADD', prefix .. 'pending:' .. name_queue(priority, section) .. ':' .. lane, since, ref)
  open_lane(prefix, priority, section, lane)
end

local function dequeue(prefix, priority, section, lane, ref)
  local queue = name_queue(priority, section)
  local pending = prefix .. 'pending:' .. queue .. ':' .. lane
  redis.call('ZREM', pending, ref)
  if redis.call('EXISTS', pending) == 0 then redis.call('ZREM', prefix .. 'lanes:' .. queue, lane) end
end

-- The sections with waiting shards that a worker can read. Forgets those that are empty.
local function list_sections(prefix, reader, format)
  local readable = {}
  for _, section in ipairs(redis.call('SMEMBERS', prefix .. 'turns:sections')) do
    local interactive, bulk = name_queue('interactive', section), name_queue('bulk', section)
    if redis.call('EXISTS', prefix .. 'lanes:' .. interactive, prefix .. 'lanes:' .. bulk) == 0 then
      redis.call('SREM', prefix .. 'turns:sections', section)
      for _, queue in ipairs({interactive, bulk}) do
        local turns = prefix .. 'turns:' .. queue
        redis.call('DEL', prefix .. 'served:' .. queue, turns, turns .. ':now', turns .. ':times')
      end
    elseif can_read(section, reader, format) then
      table.insert(readable, section)
    end
  end
  table.sort(readable)
  return readable
end

-- Makes a shard wait: one second, twice as long each time, at most a minute; one second again after five good minutes.
local function park(prefix, ref)
  local shard, time = prefix .. 'share:' .. ref, redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  if now_ms - tonumber(redis.call('HGET', shard, 'parked') or 0) > 300000 then redis.call('HDEL', shard, 'pauses') end
  local pauses = redis.call('HINCRBY', shard, 'pauses', 1)
  local due_ms = string.format('%d', now_ms + math.min(60000, 1000 * 2 ^ math.min(pauses - 1, 10)))
  redis.call('HSET', shard, 'parked', due_ms, 'noted', due_ms) -- earlier versions write only the first of the two
  redis.call('ZADD', prefix .. 'parked', due_ms, ref)
end

