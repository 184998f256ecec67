DELETE FROM receivers
