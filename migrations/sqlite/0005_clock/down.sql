DROP TABLE acknowledgement;
DROP TABLE clock;
