//! The responder against a real HTTP server.
