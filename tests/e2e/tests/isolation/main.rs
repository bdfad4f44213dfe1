//! No tenant gets another tenant's data, by any route, header, token, cursor, id, key or message. `docs/security.md` says
//! what prevents each, and which test shows it.

mod credentials;
mod events;
mod forgeries;
mod issuer;
mod load_balancer;
mod routes;
mod tokens;
