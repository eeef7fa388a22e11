//! Who may ask, from where, and how long anybody may keep a connection.

pub(crate) mod access;
pub(crate) mod address;
pub(crate) mod connections;
pub(crate) mod guard;
mod impatient;
pub(crate) mod logins;
