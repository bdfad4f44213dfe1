//! From the queue to the table: stored items, dead-lettered messages, and calls.

mod calls;
mod dead_letters;
mod moved;
mod stored;
