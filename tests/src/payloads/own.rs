//! The bodies of `payloads/`, compiled in, so that the demo runs from anywhere.
//!
//! One line a file. Written by us in the shape that each provider documents; no real person or firm is in them.

use super::Template;
use crate::sources::Source;

const FILES: &[(Source, &str, &str)] = &[
    (Source::Github, "issue_comment", include_str!("../../payloads/github/issue_comment.created.json")),
    (Source::Github, "issues", include_str!("../../payloads/github/issues.closed.json")),
    (Source::Github, "issues", include_str!("../../payloads/github/issues.opened.json")),
    (Source::Github, "organization", include_str!("../../payloads/github/organization.member_added.json")),
    (Source::Github, "pull_request", include_str!("../../payloads/github/pull_request.closed.json")),
    (Source::Github, "pull_request", include_str!("../../payloads/github/pull_request.opened.json")),
    (Source::Github, "push", include_str!("../../payloads/github/push.json")),
    (Source::Github, "repository", include_str!("../../payloads/github/repository.edited.json")),
    (Source::Github, "star", include_str!("../../payloads/github/star.created.json")),
    (Source::Github, "workflow_run", include_str!("../../payloads/github/workflow_run.completed.json")),
    (Source::Stripe, "customer.created", include_str!("../../payloads/stripe/customer.created.json")),
    (
        Source::Stripe,
        "customer.subscription.created",
        include_str!("../../payloads/stripe/customer.subscription.created.json"),
    ),
    (
        Source::Stripe,
        "customer.subscription.deleted",
        include_str!("../../payloads/stripe/customer.subscription.deleted.json"),
    ),
    (
        Source::Stripe,
        "customer.subscription.trial_will_end",
        include_str!("../../payloads/stripe/customer.subscription.trial_will_end.json"),
    ),
    (
        Source::Stripe,
        "customer.subscription.updated",
        include_str!("../../payloads/stripe/customer.subscription.updated.json"),
    ),
    (Source::Stripe, "customer.updated", include_str!("../../payloads/stripe/customer.updated.json")),
    (Source::Stripe, "invoice.finalized", include_str!("../../payloads/stripe/invoice.finalized.json")),
    (Source::Stripe, "invoice.paid", include_str!("../../payloads/stripe/invoice.paid.json")),
    (Source::Stripe, "invoice.updated", include_str!("../../payloads/stripe/invoice.updated.json")),
    (Source::Stripe, "payment_intent.created", include_str!("../../payloads/stripe/payment_intent.created.json")),
    (
        Source::Stripe,
        "payment_intent.payment_failed",
        include_str!("../../payloads/stripe/payment_intent.payment_failed.json"),
    ),
    (Source::Stripe, "payment_intent.succeeded", include_str!("../../payloads/stripe/payment_intent.succeeded.json")),
    (Source::Shopify, "orders/cancelled", include_str!("../../payloads/shopify/orders.cancelled.json")),
    (Source::Shopify, "orders/create", include_str!("../../payloads/shopify/orders.create.json")),
    (Source::Shopify, "orders/fulfilled", include_str!("../../payloads/shopify/orders.fulfilled.json")),
    (Source::Shopify, "orders/paid", include_str!("../../payloads/shopify/orders.paid.json")),
    (Source::Shopify, "orders/updated", include_str!("../../payloads/shopify/orders.updated.json")),
    (Source::Slack, "app_mention", include_str!("../../payloads/slack/app_mention.json")),
    (Source::Slack, "channel_archive", include_str!("../../payloads/slack/channel_archive.json")),
    (Source::Slack, "member_joined_channel", include_str!("../../payloads/slack/member_joined_channel.json")),
    (Source::Slack, "message", include_str!("../../payloads/slack/message.json")),
    (Source::Slack, "message", include_str!("../../payloads/slack/message.thread.json")),
    (Source::Billing, "invoice.created", include_str!("../../payloads/billing/invoice.created.json")),
    (Source::Billing, "invoice.paid", include_str!("../../payloads/billing/invoice.paid.json")),
    (Source::Billing, "invoice.reminder_sent", include_str!("../../payloads/billing/invoice.reminder_sent.json")),
    (Source::Billing, "invoice.updated", include_str!("../../payloads/billing/invoice.updated.json")),
    (Source::Identity, "user.created", include_str!("../../payloads/identity/user.created.json")),
    (Source::Identity, "user.deleted", include_str!("../../payloads/identity/user.deleted.json")),
    (Source::Identity, "user.signed_in", include_str!("../../payloads/identity/user.signed_in.json")),
    (Source::Identity, "user.updated", include_str!("../../payloads/identity/user.updated.json")),
    (Source::Warehouse, "parcel.handed_over", include_str!("../../payloads/warehouse/parcel.handed_over.json")),
    (Source::Warehouse, "parcel.packed", include_str!("../../payloads/warehouse/parcel.packed.json")),
    (Source::Warehouse, "parcel.scanned", include_str!("../../payloads/warehouse/parcel.scanned.json")),
];

/// All of them.
pub fn templates() -> Vec<Template> {
    let template = |(source, event_type, text): &(Source, &str, &str)| Template {
        source: *source,
        event_type: (*event_type).to_owned(),
        body: serde_json::from_str(text).expect("a payload of ours is JSON"),
    };
    FILES.iter().map(template).collect()
}
