--- The :Lacuna command. Nothing else happens before setup().
if vim.g.loaded_lacuna or vim.fn.has('nvim-0.9') == 0 then
  return
end
vim.g.loaded_lacuna = true

local actions = {
  enable = function(lacuna) lacuna.enable(true) end,
  disable = function(lacuna) lacuna.enable(false) end,
  toggle = function(lacuna) lacuna.enable(not lacuna.enabled) end,
  restart = function(lacuna) lacuna.restart() end,
  stats = function(lacuna) lacuna.stats() end,
  status = function(lacuna) print(table.concat(lacuna.status(), '\n')) end,
}

vim.api.nvim_create_user_command('Lacuna', function(call)
  local lacuna, action = require('lacuna'), actions[call.args]
  if not action then
    local text = 'Lacuna: no command %q; one of enable, disable, toggle, status, stats, restart'
    return vim.notify(text:format(call.args), vim.log.levels.ERROR)
  end
  if not lacuna.options then
    lacuna.setup()
  end
  action(lacuna)
end, {
  nargs = 1,
  desc = 'Lacuna: enable, disable, toggle, status, stats or restart',
  complete = function(typed)
    return vim.tbl_filter(function(name) return vim.startswith(name, typed) end, vim.tbl_keys(actions))
  end,
})
