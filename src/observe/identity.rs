//! Request ids and W3C trace context: kept from trusted peers, made otherwise, sent both ways.
