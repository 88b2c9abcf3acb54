"""What a request's body says, before it leaves: well-formed, not too long, no personal data in it.

Rule 1: everything here is synchronous and pure; a body goes in, a verdict comes out.
Rule 2: nothing here knows HTTP beyond the errors it raises.
Rule 3: time is linear in the body, whatever it holds: candidates are found by expressions that
give nothing back, and libraries judge pieces of bounded length.
Rule 4: what was found is named by its pattern and place; its text is in no error and no log.

    inspection    the face: a body inspected under one upstream's settings
    document      where the strings of a JSON text stand, and what they are called
    plain         text without its disguises, for looking only
    patterns      which patterns there are, and what counts where two meet
    addresses     email, ip
    numbers       credit_card, iban, us_ssn
    phones        phone
    keys          api_key, and the prefixes that vendors put before theirs
    hit           what a pattern found, and where a candidate may begin
"""
