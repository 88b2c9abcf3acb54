-- What wrk sends, and how it tells what it saw: one line of JSON. Arguments: method, bytes of body.

function init(arguments)
   wrk.method = arguments[1]
   local size = tonumber(arguments[2])
   if size > 0 then
      wrk.body = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"'
         .. string.rep("x", math.max(0, size - 64)) .. '"}]}'
      wrk.headers["Content-Type"] = "application/json"
   end
   wrk.headers["Authorization"] = "Bearer sk-caller"
   wrk.headers["Accept"] = "application/json"
   wrk.headers["User-Agent"] = "OpenAI/Python 1.90.0"
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\nresult {"requests":%d,"seconds":%f,"p50":%f,"p99":%f,"unwelcome":%d,"lost":%d}\n',
      summary.requests, summary.duration / 1e6,
      latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
