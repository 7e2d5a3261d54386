//! Which librdkafka properties hold secrets: their values never print.

/// Whether the property's value is a secret. Rather one too many than one too few.
pub(super) fn is(property: &str) -> bool {
    ["password", "secret", "pem", "token", "ssl.key", "private", "sasl.jaas"].iter().any(|part| property.contains(part))
        && !property.ends_with(".location")
        && !property.ends_with(".url")
}
