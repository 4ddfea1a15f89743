--- :checkhealth lacuna: what is in force and what to do about what is not.
local M = {}

local report = vim.health
local say = {
  start = report.start or report.report_start,
  ok = report.ok or report.report_ok,
  warn = report.warn or report.report_warn,
  error = report.error or report.report_error,
  info = report.info or report.report_info,
}

local function check_program(cmd)
  if type(cmd) ~= 'table' then
    return say.info('the server is reached through a function of your configuration')
  elseif vim.fn.executable(cmd[1]) == 0 then
    return say.error(('there is no program %q'):format(cmd[1]), {
      "from a checkout: uv tool install '/path/to/lacuna[cpu]'",
      "or name it: require('lacuna').setup({ cmd = { '/path/to/lacuna', '--stdio' } })",
    })
  end
  say.ok(('server: %s'):format(vim.fn.exepath(cmd[1])))
  say.info('`lacuna doctor` checks the model and the daemon')
end

function M.check()
  local lacuna, client = require('lacuna'), require('lacuna.client')
  say.start('lacuna')
  if vim.fn.has('nvim-0.9') == 0 then
    return say.error('Neovim is older than 0.9', { 'upgrade Neovim' })
  elseif not lacuna.options then
    return say.warn('setup() was not called', { "put require('lacuna').setup() into your configuration" })
  end
  say.ok('ghost text: ' .. lacuna.engine.name)
  check_program(lacuna.options.cmd)
  for _, problem in ipairs(lacuna.problems) do
    say.warn(problem)
  end
  if not lacuna.enabled then
    say.warn('suggestions are switched off', { ':Lacuna enable' })
  end
  if client.last_exit and client.last_exit.code ~= 0 then
    local text = 'a server ended with code %d, signal %d'
    say.warn(text:format(client.last_exit.code, client.last_exit.signal), { ':LspLog shows what it said' })
  end
  for name, key in pairs(lacuna.options.keys) do
    if key then
      say.info(('%s: %s'):format(key, (name:gsub('_', ' '))))
    end
  end
end

return M
