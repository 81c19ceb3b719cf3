DROP TABLE outbox_body;
DROP TABLE outbox;
DROP TABLE subscription_secret;
DROP TABLE subscription;
