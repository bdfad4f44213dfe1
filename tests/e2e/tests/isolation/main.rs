//! Nobody gets another tenant's data: whatever route, header, token, cursor, id, key or message is tried. What stops each
//! of these, and which test shows it, is in `docs/security.md`.

mod credentials;
mod forgeries;
mod issuer;
mod load_balancer;
mod routes;
mod tokens;
