//! From the queue to the table: what is stored, what is set aside, and what it costs.

mod calls;
mod set_aside;
mod stored;
