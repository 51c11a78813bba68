//! Who a client is: tokens wherever a request carries one, their end and their revocation, origins, duplicates, and what one user
//! cannot see of another. The rows are those of the failure table.

mod edges;
mod isolation;
mod tokens;
