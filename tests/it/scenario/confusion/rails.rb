# Rails' own routing and its server of files: what is below /admin is for few. Prints its port.
require 'action_controller'
require 'puma'
require 'puma/server'

say = lambda do |what|
  ->(env) { [200, { 'Content-Type' => 'text/plain' }, ["#{what} #{env['PATH_INFO']}"]] }
end
routes = ActionDispatch::Routing::RouteSet.new
routes.draw do
  get '/admin', to: say['ADMIN']
  get '/admin/x', to: say['ADMIN']
  get '/admin/*rest', to: say['ADMIN']
  get '/public(/*rest)', to: say['public']
  get '*rest', to: say['open']
  root to: say['open']
end
app = ActionDispatch::Static.new(routes, ARGV.fetch(0))
server = Puma::Server.new(app)
puts server.add_tcp_listener('127.0.0.1', 0).addr[1]
$stdout.flush
server.run.join
