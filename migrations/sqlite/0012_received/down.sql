DROP INDEX access_received;
