DROP TABLE link_claim;
DROP TABLE link_use;
DROP TABLE link;
