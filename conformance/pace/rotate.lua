-- Requests for wrk, in turn, from a file. `wrk … -s rotate.lua URL -- FILE`; FILE has blocks of lines:
--   METHOD PATH [BODY-FILE]
--   Name: value        (any number)
--   (an empty line)
-- Prints one JSON line at the end. Answers are not looked into: that would measure Lua. The driver does, before and after.
local requests, at = {}, 0

function init(arguments)
  local file = assert(io.open(arguments[1], "r"))
  local method, path, body, headers
  for line in file:lines() do
    if line == "" then
      requests[#requests + 1] = wrk.format(method, path, headers, body)
      method = nil
    elseif method == nil then
      local name
      method, path, name = line:match("^(%S+) (%S+) ?(.*)$")
      headers, body = {}, nil
      if name ~= "" then
        local source = assert(io.open(name, "rb"))
        body = source:read("*a")
        source:close()
      end
    else
      local name, value = line:match("^([^:]+): (.*)$")
      headers[name] = value
    end
  end
  file:close()
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"bytes":%d,"p50":%.1f,"p99":%.1f,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
