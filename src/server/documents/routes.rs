//! Every route of `router.rs` as the documents tell of it. A test holds the two together, calls each route and checks what comes back.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::dialect::native::{BroadcastBody, ContentBody};
use crate::protocol::{ConnectionInfo, HistoryMessage};
use crate::server::admin::ConnectionStats;
use crate::server::api::{
    Disconnected, List, Page, breakers, broadcast, connections, conversations, decode, health, monitoring, revocations,
    sessions,
};
use crate::server::ws;
use crate::sink::recorder::RecordingMeta;

/// Makes the schema of a type.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Without a token too.
    Anyone,
    /// Whoever has a token; what he gets is his own.
    Caller,
    /// Administrators.
    Administrator,
}

/// What an answer holds.
pub(super) enum Content {
    Nothing,
    Json(Shape),
    Bytes(&'static str),
    /// JSON, or for who asks for it another media type.
    Either(Shape, &'static str),
}

/// A media type, whether it must be there, and its schema.
type Body = (&'static str, bool, Shape);

/// A route.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) who: Who,
    pub(super) summary: &'static str,
    pub(super) query: Option<Shape>,
    pub(super) body: Option<Body>,
    /// Status, what it means, what comes with it.
    pub(super) answers: &'static [(u16, &'static str, Content)],
    /// Statuses that come as problem details, but for 401 and 403.
    pub(super) problems: &'static [u16],
}

/// What the routes are grouped by.
pub(super) const TAGS: [(&str, &str); 8] = [
    ("socket", "Where the socket is, and what is spoken on it."),
    ("health", "How the server is."),
    ("connections", "Who is connected."),
    ("conversations", "What was said and who is there."),
    ("sessions", "What outlives a connection."),
    ("recordings", "What was kept."),
    ("decode", "The signal path in one request."),
    ("administration", "For administrators."),
];

/// A type's schema, shared by its name.
fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A type's schema, whole: for queries.
fn whole<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "binary"})
}

fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object"})
}

const JSON: &str = "application/json";

macro_rules! routes {
    ($($method:ident $path:literal $id:literal $tag:literal $who:ident $summary:literal
        $(query($query:ty))? $(body($media:ident, $required:literal, $body:expr))?
        => [$($status:literal $about:literal $content:expr),*] [$($problem:literal),*];)+) => {
        &[$(Route {
            method: stringify!($method),
            path: $path,
            id: $id,
            tag: $tag,
            who: Who::$who,
            summary: $summary,
            query: routes!(@query $($query)?),
            body: routes!(@body $($media $required $body)?),
            answers: &[$(($status, $about, $content)),*],
            problems: &[$($problem),*],
        }),+]
    };
    (@query) => { None };
    (@query $query:ty) => { Some(whole::<$query>) };
    (@body) => { None };
    (@body $media:ident $required:literal $body:expr) => { Some(($media, $required, $body)) };
}

use Content::{Bytes, Either, Json, Nothing};

const ANY: &str = "application/octet-stream";

/// Every route.
pub(super) const ROUTES: &[Route] = routes! {
    GET "/" "index" "socket" Anyone "The microphone page."
        => [200 "A page." Bytes("text/html")] [];
    GET "/page/{file}" "pageFile" "socket" Anyone "What the page is made of, by its name JavaScript, CSS or SVG. `If-None-Match` is heeded."
        => [200 "The file." Bytes("text/javascript"), 304 "It is what you have." Nothing] [404];
    GET "/ws" "connect" "socket" Anyone "Opens the socket. Where authentication is required, the credential may also come as a subprotocol or as the first message."
        query(ws::Params)
        => [101 "The socket is open." Nothing] [400, 401, 426, 503];
    GET "/ws/{client_id}" "connectAs" "socket" Anyone "The same; the client's name in the path wins over the query."
        query(ws::Params)
        => [101 "The socket is open." Nothing] [400, 401, 426, 503];
    GET "/ws/protocol" "protocol" "socket" Anyone "What is spoken on the socket: AsyncAPI 3, or a page (`Accept: text/html`, or `?format=html`)."
        => [200 "The document." Either(object, "text/html")] [];
    GET "/api/openapi.json" "openapi" "socket" Anyone "This document."
        => [200 "The document." Json(object)] [];
    GET "/health" "health" "health" Anyone "How the server is."
        => [200 "As it says." Json(of::<health::Health>)] [];
    GET "/health/live" "live" "health" Anyone "That it answers is the answer."
        => [200 "It lives." Json(of::<health::Health>)] [];
    GET "/health/ready" "ready" "health" Anyone "Whether new work is taken."
        => [200 "Yes." Json(of::<health::Health>), 503 "No: it drains or is unhealthy." Json(of::<health::Health>)] [];
    GET "/health/detailed" "detailedHealth" "health" Administrator "How each part is."
        => [200 "As it says." Json(of::<health::DetailedHealth>)] [];
    GET "/api/connections" "connections" "connections" Administrator "Every connection, oldest first."
        query(Page)
        => [200 "A page of them." Json(of::<List<ConnectionInfo>>)] [400];
    GET "/api/connections/stats" "connectionStats" "connections" Administrator "Sums over all connections."
        => [200 "The sums." Json(of::<ConnectionStats>)] [];
    POST "/api/connections/cleanup" "cleanUp" "connections" Administrator "Closes with 4108 what was without a message for long."
        query(connections::Cleanup)
        => [200 "What was closed." Json(of::<connections::CleanedUp>)] [400];
    GET "/api/connections/{id}" "connection" "connections" Administrator "A connection."
        => [200 "The connection." Json(of::<ConnectionInfo>)] [404];
    DELETE "/api/connections/{id}" "disconnect" "connections" Administrator "Closes it with 4010."
        => [204 "Done." Nothing] [404];
    GET "/api/clients/{client_id}/connections" "connectionsOfClient" "connections" Caller "A client's connections; for who is no administrator, of his own user."
        => [200 "All of them." Json(of::<List<ConnectionInfo>>)] [400];
    DELETE "/api/clients/{client_id}" "disconnectClient" "connections" Caller "Closes them with 4010."
        => [200 "What was closed." Json(of::<Disconnected>)] [400];
    GET "/api/users/{user_id}" "user" "connections" Caller "A user and his connections; one's own, for administrators anybody's."
        => [200 "The user." Json(of::<connections::ConnectedUser>)] [];
    DELETE "/api/users/{user_id}" "disconnectUser" "connections" Caller "Closes all his connections with 4010."
        => [200 "What was closed." Json(of::<Disconnected>)] [];
    POST "/api/broadcast" "broadcast" "administration" Administrator "Something for many, with the fields of `broadcast_request`."
        body(JSON, true, of::<BroadcastBody>)
        => [200 "What became of it." Json(of::<broadcast::Delivered>)] [400, 408, 413];
    GET "/api/conversations/{id}" "conversation" "conversations" Caller "A conversation, for those who may enter it."
        => [200 "The conversation." Json(of::<conversations::Conversation>)] [400, 404, 503];
    GET "/api/conversations/{id}/messages" "messages" "conversations" Caller "What was said, oldest first."
        query(conversations::Range)
        => [200 "A page of it." Json(of::<List<HistoryMessage>>)] [400, 503];
    POST "/api/conversations/{id}/messages" "say" "conversations" Caller "Says something to the members."
        body(JSON, true, of::<ContentBody>)
        => [201 "It is durable." Json(of::<conversations::MessageAccepted>)] [400, 408, 413, 429, 503];
    GET "/api/conversations/{id}/presence" "presence" "conversations" Caller "Who is there."
        => [200 "The members." Json(of::<conversations::ConversationPresence>)] [400];
    GET "/api/sessions/{id}" "session" "sessions" Caller "A session; one's own, for administrators anybody's."
        => [200 "The session." Json(of::<sessions::Session>)] [404, 503];
    GET "/api/recordings" "recordings" "recordings" Caller "Recordings, oldest first; one's own, for administrators everybody's."
        query(Page)
        => [200 "A page of them." Json(of::<List<RecordingMeta>>)] [400, 404];
    GET "/api/recordings/{id}" "recording" "recordings" Caller "A recording."
        => [200 "What is known of it." Json(of::<RecordingMeta>)] [404];
    GET "/api/recordings/{id}.wav" "recordingAudio" "recordings" Caller "Its audio. Takes range requests, and serves a recording that still runs."
        => [200 "The file." Bytes("audio/wav"), 206 "The asked-for part." Bytes("audio/wav")] [404, 416];
    DELETE "/api/recordings/{id}" "deleteRecording" "recordings" Caller "Deletes it."
        => [204 "Done." Nothing] [404, 409];
    POST "/api/decode" "decode" "decode" Caller "Decodes a file through the pipeline of live streams; two at a time."
        query(decode::Params) body(ANY, true, bytes)
        => [200 "Signed 16-bit PCM in WAV." Bytes("audio/wav")] [400, 408, 413, 415, 422, 503];
    POST "/admin/circuit-breakers/reset" "resetBreakers" "administration" Administrator "Lets calls to a service through again, without a body to all."
        body(JSON, false, of::<breakers::Reset>)
        => [200 "Which are closed now." Json(of::<breakers::ResetBreakers>)] [400, 404, 408, 413];
    GET "/admin/errors/recent" "recentErrors" "administration" Administrator "The error journal, newest first."
        query(monitoring::Minutes)
        => [200 "Its entries." Json(object)] [400];
    POST "/admin/monitoring/reset" "resetMonitoring" "administration" Administrator "Forgets the history of figures and the error journal."
        => [200 "Done." Json(object)] [];
    GET "/admin/log-level" "logLevel" "administration" Administrator "What is logged."
        => [200 "The directives." Json(object)] [503];
    POST "/admin/log-level" "setLogLevel" "administration" Administrator "What is logged from now on."
        body(JSON, true, of::<monitoring::Level>)
        => [200 "It is so." Json(object)] [400, 408, 413, 503];
    GET "/metrics" "metrics" "health" Anyone "Figures for Prometheus; OpenMetrics for who accepts it."
        => [200 "The figures." Bytes("text/plain")] [];
    GET "/monitoring/dashboard" "dashboard" "health" Anyone "A live page; what it shows it asks for with an administrator's token."
        => [200 "The page." Bytes("text/html")] [];
    GET "/monitoring/dashboard/{file}" "dashboardFile" "health" Anyone "What the page is made of."
        => [200 "The file." Bytes("text/javascript")] [404];
    GET "/monitoring/metrics" "history" "administration" Administrator "Figures over a window: points, latencies, trends."
        query(monitoring::History)
        => [200 "The window." Json(object)] [400];
    GET "/monitoring/realtime" "realtime" "administration" Administrator "The last five minutes, second by second, and how everything is."
        => [200 "As it says." Json(object)] [];
    GET "/monitoring/connections" "watchedConnections" "administration" Administrator "Every connection with its figures and its queue."
        query(Page)
        => [200 "A page of them." Json(object)] [400];
    GET "/monitoring/errors" "errorRates" "administration" Administrator "Errors by kind, severity and minute, and the newest."
        query(monitoring::Minutes)
        => [200 "The rates." Json(object)] [400];
    GET "/admin/revocations" "revocations" "administration" Administrator "Tokens that are no longer accepted."
        => [200 "All of them." Json(of::<List<revocations::Revocation>>)] [503];
    POST "/admin/revocations" "revoke" "administration" Administrator "Revokes a token, or all of a user's until now. Connections made with them are closed with 4001."
        body(JSON, true, of::<revocations::Request>)
        => [201 "In force, and kept." Json(of::<Disconnected>)] [400, 408, 413, 429, 503];
};
