# Doorkeeper, GitLab's OAuth engine, with its OpenID Connect extension, in a Rails application of one file.
# ISSUER, DATABASE (a path) and LIFETIME (seconds) come from the environment. Whoever comes is Alice, logged in.
require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "doorkeeper"
require "doorkeeper/openid_connect"

class Application < Rails::Application
  config.eager_load = false
  config.secret_key_base = SecureRandom.hex(32)
  config.hosts.clear
  config.logger = Logger.new($stderr)
  config.log_level = :warn
end

ENV["DATABASE_URL"] = "sqlite3:#{ENV.fetch("DATABASE")}"

class ApplicationController < ActionController::Base
end

class User < ActiveRecord::Base
end

Doorkeeper.configure do
  orm :active_record
  resource_owner_authenticator { User.first }
  skip_authorization { true }
  access_token_expires_in Integer(ENV.fetch("LIFETIME")).seconds
  use_refresh_token
  default_scopes :openid
  optional_scopes :profile, :email, :read
  force_ssl_in_redirect_uri false
  grant_flows %w[authorization_code]
end

Doorkeeper::OpenidConnect.configure do
  issuer ENV.fetch("ISSUER")
  protocol { :http }
  signing_key OpenSSL::PKey::RSA.new(2048).to_pem
  subject_types_supported [:public]
  resource_owner_from_access_token { |token| User.find_by(id: token.resource_owner_id) }
  auth_time_from_resource_owner { |_| Time.now }
  subject { |user, _| user.id.to_s }
  claims { claim(:name, scope: :profile) { |user| user.name } }
end

Application.initialize!

ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table(:users) { |t| t.string :name }
  create_table :oauth_applications do |t|
    t.string :name, null: false
    t.string :uid, null: false
    t.string :secret, null: false
    t.text :redirect_uri, null: false
    t.string :scopes, null: false, default: ""
    t.boolean :confidential, null: false, default: true
    t.timestamps
  end
  create_table :oauth_access_grants do |t|
    t.references :resource_owner, null: false
    t.references :application, null: false
    t.string :token, null: false
    t.integer :expires_in, null: false
    t.text :redirect_uri, null: false
    t.datetime :created_at, null: false
    t.datetime :revoked_at
    t.string :scopes, null: false, default: ""
    t.string :code_challenge
    t.string :code_challenge_method
  end
  create_table :oauth_access_tokens do |t|
    t.references :resource_owner
    t.references :application, null: false
    t.string :token, null: false
    t.string :refresh_token
    t.integer :expires_in
    t.datetime :revoked_at
    t.datetime :created_at, null: false
    t.string :scopes
    t.string :previous_refresh_token, null: false, default: ""
  end
  create_table :oauth_openid_requests do |t|
    t.references :access_grant, null: false
    t.string :nonce, null: false
  end
end

User.create!(name: "Alice")
Doorkeeper::Application.create!(
  name: "agent", uid: "agent", confidential: false, scopes: "openid profile email read", redirect_uri: "http://127.0.0.1/callback"
)

Application.routes.draw do
  use_doorkeeper
  use_doorkeeper_openid_connect
end

run Application
