-- What each party has received and did not send itself (role 2). Who has received little sees by these few what they refer to, however
-- much it has sent that names the same.
CREATE INDEX access_received ON access (party, rid) WHERE role = 2;
