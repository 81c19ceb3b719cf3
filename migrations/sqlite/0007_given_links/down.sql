ALTER TABLE revocation DROP COLUMN document;
ALTER TABLE revocation DROP COLUMN reader;
DROP TABLE revocation_reserve;
DROP TABLE given_link_backlog;
DROP TABLE given_link;
